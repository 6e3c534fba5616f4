//! The runner's side of the control protocol: a thread that drives [`aiotest_core`]'s state machine over HTTP, apart
//! from the interpreter. Decides nothing itself.
