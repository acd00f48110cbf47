"""What graphs cost: served and durable, beside the same graphs called directly."""
