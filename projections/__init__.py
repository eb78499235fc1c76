"""What people look at: tables that can be thrown away and built again from the log."""
