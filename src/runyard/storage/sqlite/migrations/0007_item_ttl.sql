-- How long an item is kept after it was last used: `expires_at` alone does not tell.

ALTER TABLE items ADD COLUMN ttl INTEGER;      -- microseconds; NULL: it is kept, or was put before this was known
