"""A formula written in the forms that compute best, and written out as steps."""
