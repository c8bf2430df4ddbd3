"""Small measurements that figures are drawn from: one file a table."""
