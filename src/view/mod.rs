//! What a person sees of a mail: clean HTML, plain text, a preview, quoted text told apart.
//! What a template makes of its fields is here too. Pure: text in, text out; ammonia is the judge of what is safe.
//! Not for reading mails (that is `mail::parse`) and not for deciding who sees them (that is `rules::access`).

mod answers;
mod balance;
mod blocks;
mod html;
mod links;
mod markup;
mod preview;
mod quotes;
pub mod template;

pub use answers::{QuoteHead, Quoting, quote_html, quote_text};
pub use blocks::{Block, BlockKind, blocks};
pub use html::{
    CleanHtml, HTML_BYTES_MAX, SANITISER_VERSION, TEXT_BYTES_MAX, clean, html_of_text, text_of_html,
};
pub use links::{Link, links};
pub use preview::{PREVIEW_CHARS_MAX, preview};
pub use quotes::{Quoted, split_quoted};
