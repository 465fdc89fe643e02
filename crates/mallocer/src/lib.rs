//! mallocer
