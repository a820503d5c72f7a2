//! The state table and one shard's epoch.
