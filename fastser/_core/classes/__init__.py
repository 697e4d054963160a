"""What is known of classes, and what reducers return."""
