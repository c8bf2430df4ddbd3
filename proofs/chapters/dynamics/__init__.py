"""Many steps: descent, conservative fields, and the perceptron's mistakes."""
