"""The compiled core: a file for each public function, and folders in the order in which they stand on each other."""
