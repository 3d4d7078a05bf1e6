//! Certificates as a client sees them.
