//! temporary
#[expect(clippy::unwrap_used, clippy::print_stdout, reason = "temporary")]
fn main() {
    let bytes = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let text = ingest::normalise(&ingest::extract_main_text(&ingest::decode_html(&bytes).unwrap()).unwrap());
    println!("{text}");
}
