//! Writing to the terminal: colours where they are wanted, tables that fit, and
//! an end without complaint when the reader has gone.

use std::env;
use std::io::{self, IsTerminal, Write};

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle,
};

use crate::failure::Failure;

/// The widest that any output of the program gets, in columns.
const MOST_COLUMNS: u16 = 100;

const RULE: LineStyle = LineStyle::none().fill('─').junction('─');

/// Horizontal rules around the table and under its head, and no other lines.
const STYLE: TableStyle =
    TableStyle::new().top_border(RULE).header_separator(RULE).bottom_border(RULE);

/// How to write to standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    colour: bool,
    columns: u16,
}

impl Terminal {
    /// Looks at standard output and at the environment.
    ///
    /// Colours are on for a terminal, unless `no_colour` or the environment
    /// (`NO_COLOR`, or `TERM=dumb`) is against it; `CLICOLOR_FORCE` turns them on
    /// for a pipe too.
    pub(crate) fn detect(no_colour: bool) -> Terminal {
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let refused = no_colour
            || set("NO_COLOR")
            || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let forced = set("CLICOLOR_FORCE") && env::var_os("CLICOLOR_FORCE") != Some("0".into());
        let colour = !refused && (forced || io::stdout().is_terminal());
        let named = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let columns = named.or_else(|| Table::new().width()).unwrap_or(MOST_COLUMNS);
        Terminal { colour, columns: columns.clamp(40, MOST_COLUMNS) }
    }

    /// A terminal without colours, of the greatest width.
    #[cfg(test)]
    pub(crate) fn plain() -> Terminal {
        Terminal { colour: false, columns: MOST_COLUMNS }
    }

    /// An empty table in the style that all tables of the program share.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(self.columns);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    /// `text` in bold, if colours are on.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// `text` in a fainter shade, if colours are on.
    pub(crate) fn faint(&self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// `text` in red, if colours are on.
    pub(crate) fn red(&self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn wrap(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The cell above a column of figures, or of words if `left`.
pub(crate) fn head(text: impl ToString, left: bool) -> Cell {
    let alignment = if left { CellAlignment::Left } else { CellAlignment::Right };
    Cell::new(text).add_attribute(Attribute::Bold).set_alignment(alignment)
}

/// A figure, at the right of its column.
pub(crate) fn figure(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// The best figure of its row.
pub(crate) fn best(text: impl ToString) -> Cell {
    figure(text).fg(Color::Green).add_attribute(Attribute::Bold)
}

/// The name of a group of rows.
pub(crate) fn group(text: impl ToString) -> Cell {
    Cell::new(text).fg(Color::Cyan).add_attribute(Attribute::Bold)
}

/// Writes `text` and a line end to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    written.and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("cannot write to standard output: {error}")),
    })
}

/// Writes `value` as indented JSON to standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?;
    print(&text)
}
