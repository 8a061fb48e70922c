//! Every script of the project, in Rust: `cargo xtask COMMAND`.

use clap::{Parser, Subcommand};

mod demo_corpus;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, demo, tests and checks of moso")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make demo-corpus/ again from the packages named in its NOTICE
    DemoCorpus,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::DemoCorpus => demo_corpus::make(std::path::Path::new("demo-corpus")),
    }
}
