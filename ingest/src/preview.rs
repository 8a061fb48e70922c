//! What one rule would do, before anyone commits to it.
//!
//! Nothing is written. Every document that gets as far as a language is asked this one rule, whatever the other rules say of
//! it; shown are documents that it would drop (a fair sample: those with the smallest ids) and documents that only just pass.

use std::path::PathBuf;

use thiserror::Error;

use crate::config::{IngestConfig, Source};
use crate::examine::{Examiner, excerpt, rule_names};
use crate::read::{ReadError, RecordReader, list_files};
use crate::rules::{Bound, Limit};
use crate::run::IngestError;
