"""The dialect as this server speaks it, beside the vendor's development server: the same requests to both."""
