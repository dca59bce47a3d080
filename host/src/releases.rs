//! Releases: versions of engines that are installed, watched and rolled back in a running server.

pub mod verdict;
