"""What the chaos tests break: a real chain, real node processes, and faulty servers between them."""
