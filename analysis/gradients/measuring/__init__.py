"""What measurements share: the model on its batch, the rows of a table, and measuring while a training goes on."""
