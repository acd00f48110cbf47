-- A thread may have a time to live of its own, counted from its last change, whatever holds for all others.

ALTER TABLE threads ADD COLUMN ttl INTEGER CHECK (ttl > 0);       -- microseconds; NULL: it has none of its own
ALTER TABLE threads ADD COLUMN ttl_strategy TEXT                  -- what becomes of it then
    CHECK (ttl_strategy IN ('delete', 'keep_latest')) CHECK ((ttl_strategy IS NULL) = (ttl IS NULL));
ALTER TABLE threads ADD COLUMN cut_at INTEGER;                    -- `updated_at` when its history was cut

-- One that was cut to its newest state is not found again before it changes, but by those who delete.
DROP INDEX threads_idle;
CREATE INDEX threads_idle ON threads ((CASE WHEN cut_at = updated_at THEN 1 ELSE 0 END), updated_at)
    WHERE deleted_at IS NULL AND hidden = 0 AND status IN ('idle', 'error') AND ttl IS NULL;

-- Whoever gives a thread a time does so for its open question, too; its history is not cut below one.
CREATE INDEX threads_expiring ON threads (updated_at + ttl)
    WHERE ttl IS NOT NULL AND deleted_at IS NULL AND (cut_at IS NULL OR cut_at <> updated_at)
      AND (status IN ('idle', 'error') OR (status = 'interrupted' AND ttl_strategy = 'delete'));
