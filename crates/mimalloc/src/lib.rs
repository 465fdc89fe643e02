//! mimalloc
