//! The table of all figures: a column for each side, then the goals.

use std::cell::RefCell;

/// Of the sides, and of the goals of `/v1` and of stored images.
const HEADINGS: [&str; 7] = [
    "",
    "direct",
    "nginx",
    "/v1",
    "stored",
    "goal /v1",
    "goal stored",
];
/// Width of the first column.
const NAME_WIDTH: usize = 34;

/// A maximum or a minimum.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// The figures of one row. `None` is not measured.
#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    pub(crate) direct: Option<f64>,
    pub(crate) nginx: Option<f64>,
    pub(crate) openai: Option<f64>,
    pub(crate) stored: Option<f64>,
    pub(crate) openai_goal: Option<Goal>,
    pub(crate) stored_goal: Option<Goal>,
}

/// The rows so far.
#[derive(Default)]
pub(crate) struct Table(RefCell<Vec<(String, Figures)>>);

impl Table {
    /// Adds a row, and prints it.
    pub(crate) fn add(&self, name: impl Into<String>, figures: Figures) {
        let name = name.into();
        println!("  {}", row(&name, &figures));
        self.0.borrow_mut().push((name, figures));
    }

    /// Adds a row of the server alone.
    pub(crate) fn add_one(&self, name: impl Into<String>, figure: f64, goal: Option<Goal>) {
        let figures = Figures {
            openai: Some(figure),
            openai_goal: goal,
            ..Figures::default()
        };
        self.add(name, figures);
    }

    /// Prints all rows, and the number of goals that are met.
    pub(crate) fn print(&self) {
        let [first, columns @ ..] = HEADINGS;
        let columns: Vec<_> = columns.iter().map(|it| format!("{it:>11}")).collect();
        println!("\n{first:NAME_WIDTH$}{}", columns.concat());
        let (mut met, mut all) = (0, 0);
        for (name, figures) in self.0.borrow().iter() {
            println!("{}", row(name, figures));
            for is_met in figures.verdicts().into_iter().flatten() {
                met += usize::from(is_met);
                all += 1;
            }
        }
        println!("{met} of {all} goals met; * missed");
    }
}

impl Figures {
    /// Whether `/v1` and stored images meet their goals.
    fn verdicts(&self) -> [Option<bool>; 2] {
        [
            (self.openai, self.openai_goal),
            (self.stored, self.stored_goal),
        ]
        .map(|(figure, goal)| Some(goal?.is_met(figure?)))
    }
}

impl Goal {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

fn row(name: &str, figures: &Figures) -> String {
    let [openai, stored] = figures.verdicts().map(|it| it == Some(false));
    let cell = |figure: Option<f64>, is_missed: bool| {
        let mark = if is_missed { "*" } else { "" };
        figure.map_or_else(|| "-".to_owned(), |it| format!("{}{mark}", number(it)))
    };
    let goal = |goal: Option<Goal>| match goal {
        None => "-".to_owned(),
        Some(Goal::AtMost(most)) => format!("<= {}", number(most)),
        Some(Goal::AtLeast(least)) => format!(">= {}", number(least)),
    };
    let cells = [
        cell(figures.direct, false),
        cell(figures.nginx, false),
        cell(figures.openai, openai),
        cell(figures.stored, stored),
        goal(figures.openai_goal),
        goal(figures.stored_goal),
    ];
    let cells: Vec<_> = cells.iter().map(|it| format!("{it:>11}")).collect();
    format!("{name:NAME_WIDTH$}{}", cells.concat())
}

/// Three digits that matter.
fn number(figure: f64) -> String {
    if figure.abs() >= 100.0 {
        format!("{figure:.0}")
    } else if figure.abs() >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.3}")
    }
}
