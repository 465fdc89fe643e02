//! The backends that come with mallocer under the suite, and the suite itself under
//! heaps that are wrong.

mod backends;
mod flaws;
mod random;
mod reference;
