"""What anyone can check with nothing but a chain endpoint and content ids."""
