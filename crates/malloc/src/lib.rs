//! malloc
