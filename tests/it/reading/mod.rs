//! Reading and finding mail: searches, conversations, what a person sees of a mail, and what is erased for good.

mod conversations;
mod erasure;
mod extras;
mod hostile_html;
mod indexing;
mod marking;
mod search;
mod search_speed;
