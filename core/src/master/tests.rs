//! Claims about masters.
