//! jemalloc
