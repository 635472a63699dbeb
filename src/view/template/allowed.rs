//! What a template may say. The language it is written in could make gigabytes of a line, or go deeper than a stack, and
//! counting steps sees neither: so what is not on these lists is refused before anything is compiled.
//! Not for: filling templates in.

use super::TemplateError;
use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Token, WhitespaceConfig, parse, tokenize};

/// What may be made of a field. Each makes about as much as it is given.
pub(super) const FILTERS: [&str; 10] = [
    "upper",
    "lower",
    "title",
    "capitalize",
    "trim",
    "default",
    "d",
    "length",
    "int",
    "float",
];
/// What may be asked of a field.
pub(super) const TESTS: [&str; 3] = ["defined", "undefined", "none"];
/// Loops within each other.
const LOOPS_DEEP_MAX: usize = 2;
/// Words and signs between one pair of braces: the parser goes one level deeper for each.
const TOKENS_MAX: usize = 200;
/// Branches of conditions in a whole template: the parser goes one level deeper for each.
const ELIF_MAX: usize = 100;
/// A text within braces; it can be made use of at every step.
const LITERAL_BYTES_MAX: usize = 1000;

const FILTERS_TEXT: &str = "only the filters upper, lower, title, capitalize, trim, default, length, int and float can be used, \
     and only default is told something";
const OPERATORS_TEXT: &str =
    "fields are compared and joined with and, or and not; nothing is calculated";
const LIST_TEXT: &str = "a loop runs over a field, or over a list of texts and numbers";

fn refused(line: u16, what: &'static str) -> TemplateError {
    TemplateError::NotAllowed {
        line: usize::from(line),
        what,
    }
}

/// Refuses a template that says more than it may.
///
/// # Errors
/// [`TemplateError::NotAllowed`]; [`TemplateError::Unreadable`] for what is no template.
pub(super) fn check(source: &str) -> Result<(), TemplateError> {
    // Parsing goes deep by itself: how deep is known before.
    tokens(source)?;
    let whole = parse(source, "", Default::default(), WhitespaceConfig::default())
        .map_err(|error| super::fault(&error))?;
    statement(&whole, 0)
}

fn tokens(source: &str) -> Result<(), TemplateError> {
    let (mut within, mut branches) = (0_usize, 0_usize);
    let whitespace = WhitespaceConfig::default();
    for token in tokenize(source, false, Default::default(), whitespace) {
        let (token, span) = token.map_err(|error| super::fault(&error))?;
        let line = span.start_line;
        within += 1;
        let literal = match &token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => {
                within = 0;
                0
            }
            Token::Ident("elif") => {
                branches += 1;
                0
            }
            Token::Str(text) => text.len(),
            Token::String(text) => text.len(),
            _ => 0,
        };
        if within > TOKENS_MAX {
            return Err(refused(line, "there is too much between two braces"));
        }
        if branches > ELIF_MAX {
            return Err(refused(line, "there are too many branches"));
        }
        if literal > LITERAL_BYTES_MAX {
            return Err(refused(line, "a text within braces is too long"));
        }
    }
    Ok(())
}

fn statements(all: &[Stmt<'_>], loops: usize) -> Result<(), TemplateError> {
    all.iter().try_for_each(|one| statement(one, loops))
}

fn statement(one: &Stmt<'_>, loops: usize) -> Result<(), TemplateError> {
    match one {
        Stmt::Template(whole) => statements(&whole.children, loops),
        Stmt::EmitRaw(_) => Ok(()),
        Stmt::EmitExpr(shown) => expression(&shown.expr),
        Stmt::IfCond(condition) => {
            expression(&condition.expr)?;
            statements(&condition.true_body, loops)?;
            statements(&condition.false_body, loops)
        }
        Stmt::ForLoop(each) => {
            let line = each.span().start_line;
            if loops >= LOOPS_DEEP_MAX {
                return Err(refused(line, "loops stand too deep in each other"));
            }
            if each.recursive || each.filter_expr.is_some() {
                return Err(refused(
                    line,
                    "a loop is neither recursive nor has a condition",
                ));
            }
            if !matches!(each.target, Expr::Var(_)) {
                return Err(refused(line, "a loop names one thing"));
            }
            list(&each.iter)?;
            statements(&each.body, loops + 1)?;
            statements(&each.else_body, loops)
        }
        Stmt::WithBlock(other) => Err(not_a_statement(other.span().start_line)),
        Stmt::Set(other) => Err(not_a_statement(other.span().start_line)),
        Stmt::SetBlock(other) => Err(not_a_statement(other.span().start_line)),
        Stmt::AutoEscape(other) => Err(not_a_statement(other.span().start_line)),
        Stmt::FilterBlock(other) => Err(not_a_statement(other.span().start_line)),
        Stmt::Do(other) => Err(not_a_statement(other.span().start_line)),
    }
}

fn not_a_statement(line: u16) -> TemplateError {
    refused(line, "only if, elif, else and for can be used")
}

/// What a loop may run over: nothing that is made on the way.
fn list(iter: &Expr<'_>) -> Result<(), TemplateError> {
    match iter {
        Expr::List(given)
            if given
                .items
                .iter()
                .all(|item| matches!(item, Expr::Const(_))) =>
        {
            Ok(())
        }
        Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => expression(iter),
        _ => Err(refused(iter.span().start_line, LIST_TEXT)),
    }
}

fn expressions<'e, 's: 'e>(
    all: impl IntoIterator<Item = &'e Expr<'s>>,
) -> Result<(), TemplateError> {
    all.into_iter().try_for_each(expression)
}

fn expression(one: &Expr<'_>) -> Result<(), TemplateError> {
    let line = one.span().start_line;
    match one {
        Expr::Var(_) | Expr::Const(_) => Ok(()),
        Expr::GetAttr(of) => expression(&of.expr),
        Expr::GetItem(of) => expressions([&of.expr, &of.subscript_expr]),
        Expr::UnaryOp(of) => expression(&of.expr),
        Expr::IfExpr(of) => {
            expressions([&of.test_expr, &of.true_expr])?;
            expressions(&of.false_expr)
        }
        Expr::Compare(of) => {
            expression(&of.expr)?;
            expressions(of.ops.iter().map(|right| &right.expr))
        }
        Expr::BinOp(of) if is_comparison(of.op) => expressions([&of.left, &of.right]),
        Expr::BinOp(_) => Err(refused(line, OPERATORS_TEXT)),
        Expr::Filter(of) => {
            let may_be_told = matches!(of.name, "default" | "d");
            if !FILTERS.contains(&of.name) || !(of.args.is_empty() || may_be_told) {
                return Err(refused(line, FILTERS_TEXT));
            }
            expressions(&of.expr)?;
            of.args.iter().try_for_each(|given| match given {
                CallArg::Pos(given) | CallArg::Kwarg(_, given) => expression(given),
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => Err(refused(line, FILTERS_TEXT)),
            })
        }
        Expr::Test(of) if TESTS.contains(&of.name) && of.args.is_empty() => expression(&of.expr),
        Expr::Test(_) => Err(refused(
            line,
            "only whether something is defined, undefined or none can be asked",
        )),
        Expr::Call(_) => Err(refused(line, "nothing can be called")),
        Expr::Slice(_) | Expr::List(_) | Expr::Map(_) => Err(refused(
            line,
            "nothing is cut, and lists stand only where a loop runs over them",
        )),
    }
}

const fn is_comparison(operator: BinOpKind) -> bool {
    match operator {
        BinOpKind::Eq
        | BinOpKind::Ne
        | BinOpKind::Lt
        | BinOpKind::Lte
        | BinOpKind::Gt
        | BinOpKind::Gte
        | BinOpKind::In
        | BinOpKind::ScAnd
        | BinOpKind::ScOr => true,
        BinOpKind::Add
        | BinOpKind::Sub
        | BinOpKind::Mul
        | BinOpKind::Div
        | BinOpKind::FloorDiv
        | BinOpKind::Rem
        | BinOpKind::Pow
        | BinOpKind::Concat => false,
    }
}
