//! Claims about who gets which row, message by message. Whole runs are played in `tests/simulation`.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

const fn at(seconds: u64) -> Tick {
    Tick::from_micros(seconds * 1_000_000)
}

fn id(runner: u32) -> ProcessId {
    ProcessId { runner: format!("runner-{runner}"), process: 0, incarnation: 1 }
}

fn stock(policy: Policy, at_end: AtEnd, rows: u32) -> Stock {
    let spec = DataSpec { name: "accounts".into(), policy, at_end, rows, ..DataSpec::default() };
    Stock::new(&[spec])
}

fn set(rows: &[u32]) -> RowSet {
    rows.iter().copied().collect()
}

/// A process that does as a runner does, by hand.
struct Someone {
    id: ProcessId,
    said: RowsReport,
}

impl Someone {
    fn new(runner: u32) -> Self {
        let sets = vec![SetReport { name: "accounts".into(), ..SetReport::default() }];
        Self { id: id(runner), said: RowsReport { turn: 0, heard: 0, sets } }
    }

    /// A new report, in which so many users wait.
    fn says(&mut self, waiting: u32) -> RowsReport {
        self.said.turn += 1;
        self.said.sets[0].waiting = waiting;
        self.said.clone()
    }

    fn gives_back(&mut self, rows: &[u32]) {
        self.said.sets[0].held.remove(&set(rows));
    }

    fn takes(&mut self, answer: &RowsAnswer) -> Vec<u32> {
        assert_eq!(answer.turn, self.said.turn);
        self.said.heard = answer.turn;
        let (held, said) = (&mut self.said.sets[0], &answer.sets[0]);
        if held.pass < said.pass && !said.offer.is_empty() {
            (held.pass, held.held) = (said.pass, RowSet::default());
        }
        held.held.add(&said.offer);
        said.offer.iter().collect()
    }

    /// A whole exchange; the rows that came of it.
    fn asks(&mut self, stock: &mut Stock, now: Tick, waiting: u32) -> Vec<u32> {
        let said = self.says(waiting);
        let answer = hear(stock, now, &self.id, &said);
        self.takes(&answer)
    }
}

fn hear(stock: &mut Stock, now: Tick, id: &ProcessId, said: &RowsReport) -> RowsAnswer {
    stock.take_in(now, id, said);
    stock.answer(now, id, true).unwrap()
}

/// What a master that is killed and comes back has.
fn again(stock: &Stock) -> Stock {
    let written = serde_json::to_string(stock).unwrap();
    let specs: Vec<DataSpec> = stock.pools.iter().map(|pool| pool.spec.clone()).collect();
    let mut again = Stock::new(&specs);
    assert!(again.take_over(serde_json::from_str(&written).unwrap(), |_| true));
    again
}

#[test]
fn a_row_comes_back_when_it_is_given_back_and_not_before() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 3);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    assert_eq!(one.asks(&mut stock, at(0), 2), [0, 1]);
    assert_eq!(other.asks(&mut stock, at(0), 2), [2]);
    assert_eq!(other.asks(&mut stock, at(1), 1), [0; 0]);
    one.gives_back(&[0]);
    assert_eq!(other.asks(&mut stock, at(2), 1), [0; 0], "nobody has been told");
    assert_eq!(one.asks(&mut stock, at(2), 0), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(3), 1), [0]);
}

#[test]
fn an_offer_whose_answer_is_lost_is_void_and_the_row_is_free_again() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 1);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    let said = one.says(1);
    let lost = hear(&mut stock, at(0), &one.id, &said);
    assert_eq!(lost.sets[0].offer, set(&[0]));
    assert_eq!(hear(&mut stock, at(0), &one.id, &said), lost, "a report that is doubled has the same answer");
    assert_eq!(other.asks(&mut stock, at(1), 1), [0; 0], "it may still be on its way");
    let nobody_waits = one.says(0);
    assert!(hear(&mut stock, at(2), &one.id, &nobody_waits).sets[0].offer.is_empty());
    assert_eq!(other.asks(&mut stock, at(3), 1), [0]);
}

#[test]
fn a_report_that_comes_late_changes_nothing() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 2);
    let mut one = Someone::new(0);
    let early = one.says(0);
    assert_eq!(one.asks(&mut stock, at(0), 1), [0]);
    let late = hear(&mut stock, at(1), &one.id, &early);
    assert_eq!(late.turn, 2, "which nobody takes for the answer to the first");
    let mut other = Someone::new(1);
    assert_eq!(other.asks(&mut stock, at(2), 2), [1]);
}

#[test]
fn rows_of_a_dead_process_come_back_at_the_proof_or_when_its_users_must_have_ended() {
    let mut stock = stock(Policy::Unique, AtEnd::Stop, 2);
    let (mut one, mut silent, mut other) = (Someone::new(0), Someone::new(1), Someone::new(2));
    assert_eq!(one.asks(&mut stock, at(0), 1), [0]);
    assert_eq!(silent.asks(&mut stock, at(0), 1), [1]);
    stock.departed(at(9), &silent.id, false);
    let said = other.says(2);
    let answer = hear(&mut stock, at(9), &other.id, &said);
    assert_eq!(other.takes(&answer), [0; 0]);
    assert!(!answer.sets[0].exhausted, "it will come back");
    stock.departed(at(10), &one.id, true);
    assert_eq!(other.asks(&mut stock, at(10), 2), [0]);
    assert_eq!(other.asks(&mut stock, at(13), 1), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(9) + USERS_END, 1), [1]);
}

#[test]
fn a_silent_process_that_is_back_in_time_keeps_its_rows() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 1);
    let (mut silent, mut other) = (Someone::new(0), Someone::new(1));
    assert_eq!(silent.asks(&mut stock, at(0), 1), [0]);
    stock.departed(at(16), &silent.id, false);
    assert_eq!(silent.asks(&mut stock, at(20), 0), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(60), 1), [0; 0]);
    silent.gives_back(&[0]);
    assert_eq!(silent.asks(&mut stock, at(61), 0), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(62), 1), [0]);
}

#[test]
fn what_a_process_claims_that_it_lost_long_ago_counts_for_nothing() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 1);
    let (mut frozen, mut other) = (Someone::new(0), Someone::new(1));
    assert_eq!(frozen.asks(&mut stock, at(0), 1), [0]);
    stock.departed(at(16), &frozen.id, false);
    assert_eq!(other.asks(&mut stock, at(30), 1), [0]);
    assert_eq!(frozen.asks(&mut stock, at(60), 1), [0; 0]);
    other.gives_back(&[0]);
    other.asks(&mut stock, at(61), 0);
    frozen.gives_back(&[0]);
    assert_eq!(frozen.asks(&mut stock, at(62), 1), [0]);
    assert_eq!(other.asks(&mut stock, at(63), 1), [0; 0]);
}

#[test]
fn of_what_little_is_left_nobody_gets_much_beforehand_and_what_is_short_is_asked_back() {
    let mut stock = stock(Policy::Unique, AtEnd::Stop, 20);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    one.asks(&mut stock, at(0), 0);
    other.asks(&mut stock, at(0), 0);
    one.said.sets[0].reserve = 16;
    other.said.sets[0].reserve = 16;
    let at_hand = one.asks(&mut stock, at(0), 4).len();
    assert_eq!(at_hand, 8, "four for users, and a quarter of the rest");
    one.said.sets[0].unused = 4;
    one.said.sets[0].waiting = 0;
    let said = other.says(14);
    let answer = hear(&mut stock, at(1), &other.id, &said);
    assert_eq!((other.takes(&answer).len(), answer.sets[0].short), (12, true));
    assert!(!answer.sets[0].exhausted, "four are unused elsewhere");
    let said = one.says(0);
    let answer = hear(&mut stock, at(2), &one.id, &said);
    assert!(answer.sets[0].short && answer.sets[0].offer.is_empty());
    one.takes(&answer);
    let unused: Vec<u32> = one.said.sets[0].held.iter().skip(4).collect();
    one.gives_back(&unused);
    one.said.sets[0].unused = 0;
    assert_eq!(one.asks(&mut stock, at(3), 0), [0; 0], "others wait");
    assert_eq!(other.asks(&mut stock, at(4), 3).len(), 3);
    one.asks(&mut stock, at(4), 0);
    let said = other.says(2);
    let answer = hear(&mut stock, at(5), &other.id, &said);
    assert_eq!((answer.sets[0].offer.len(), answer.sets[0].exhausted), (1, false));
    other.takes(&answer);
    let said = other.says(1);
    let answer = hear(&mut stock, at(6), &other.id, &said);
    assert!(answer.sets[0].exhausted, "all twenty are used");
    assert_eq!(stock.notes().count(), 0, "who is told so does not wait");
}

#[test]
fn users_that_wait_for_long_are_told_of() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 1);
    let mut one = Someone::new(0);
    for second in 0..9 {
        one.asks(&mut stock, at(second), 2 - u32::from(0 < second));
    }
    let told = "users had to wait for a row of the data set `accounts`: all of its 1 were in use";
    assert_eq!(stock.notes().collect::<Vec<_>>(), [told]);
}

#[test]
fn each_row_is_handed_out_once_in_a_pass_and_what_ended_with_its_process_is_left_out() {
    let mut stock = stock(Policy::Sharded, AtEnd::Loop, 5);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    assert_eq!(one.asks(&mut stock, at(0), 2), [0, 1]);
    assert_eq!(other.asks(&mut stock, at(0), 2), [2, 3]);
    stock.departed(at(1), &other.id, true);
    assert_eq!(one.asks(&mut stock, at(1), 2), [4], "two are used, or were never heard of");
    assert_eq!(one.asks(&mut stock, at(2), 2), [0, 1], "another pass");
    assert_eq!(one.said.sets[0].pass, 1);
    one.gives_back(&[1]);
    assert_eq!(one.asks(&mut stock, at(3), 4), [1, 2, 3, 4], "what is given back unused is handed out");
}

#[test]
fn a_pass_that_is_the_only_one_ends() {
    let mut stock = stock(Policy::Sharded, AtEnd::Stop, 3);
    let mut one = Someone::new(0);
    assert_eq!(one.asks(&mut stock, at(0), 3), [0, 1, 2]);
    let said = one.says(1);
    assert!(hear(&mut stock, at(1), &one.id, &said).sets[0].exhausted);
}

#[test]
fn a_master_that_comes_back_gives_nothing_until_everybody_has_said_what_he_has() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 3);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    one.asks(&mut stock, at(0), 0);
    other.asks(&mut stock, at(0), 0);
    let mut again = again(&stock);
    // What the last life gave after it had written is told by whoever has it.
    assert_eq!(one.asks(&mut stock, at(1), 1), [0]);
    assert_eq!(other.asks(&mut again, at(2), 2), [0; 0], "nobody knows what the other has");
    assert_eq!(one.asks(&mut again, at(3), 0), [0; 0]);
    assert_eq!(other.asks(&mut again, at(4), 2), [1, 2]);
}

#[test]
fn a_process_that_is_not_heard_after_a_restart_holds_everything_up_until_it_must_have_ended() {
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 1);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    one.asks(&mut stock, at(0), 0);
    other.asks(&mut stock, at(0), 0);
    let mut again = again(&stock);
    assert_eq!(one.asks(&mut again, at(1), 1), [0; 0]);
    again.departed(at(17), &other.id, false);
    assert_eq!(one.asks(&mut again, at(18), 1), [0; 0]);
    assert_eq!(one.asks(&mut again, at(22), 1), [0]);
}

#[test]
fn vouchers_of_a_process_that_died_unheard_are_never_given_again() {
    let mut stock = stock(Policy::Sharded, AtEnd::Stop, 1000);
    let (mut one, mut other) = (Someone::new(0), Someone::new(1));
    assert_eq!(one.asks(&mut stock, at(0), 2), [0, 1]);
    other.asks(&mut stock, at(0), 0);
    assert_eq!(stock.decisions(), [2 + BLOCK], "written before the answer leaves");
    let mut again = again(&stock);
    assert_eq!(other.asks(&mut stock, at(1), 2), [2, 3]);
    assert_eq!(stock.decisions(), [2 + BLOCK], "and seldom");
    again.departed(at(2), &other.id, true);
    assert_eq!(one.asks(&mut again, at(3), 1), [2 + BLOCK]);
}

#[test]
fn a_master_that_forgot_all_learns_what_everybody_has_and_waits_for_the_rest() {
    let mut before = stock(Policy::Unique, AtEnd::Loop, 3);
    let mut one = Someone::new(0);
    assert_eq!(one.asks(&mut before, at(0), 2), [0, 1]);
    let mut stock = stock(Policy::Unique, AtEnd::Loop, 3);
    stock.forget(at(20));
    let mut other = Someone::new(1);
    assert_eq!(one.asks(&mut stock, at(5), 0), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(6), 2), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(24), 2), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(25), 2), [2]);
    assert_eq!(one.asks(&mut stock, at(26), 0), [0; 0]);
    one.gives_back(&[1]);
    assert_eq!(one.asks(&mut stock, at(27), 0), [0; 0]);
    assert_eq!(other.asks(&mut stock, at(28), 1), [1]);
}

#[test]
fn a_pass_goes_on_after_a_master_that_was_forgotten() {
    let mut before = stock(Policy::Sharded, AtEnd::Stop, 9);
    let (mut one, mut dead) = (Someone::new(0), Someone::new(1));
    assert_eq!(dead.asks(&mut before, at(0), 2), [0, 1]);
    let said = one.says(2);
    let heard = hear(&mut before, at(0), &one.id, &said);
    assert_eq!(one.takes(&heard), [2, 3]);
    let mut stock = stock(Policy::Sharded, AtEnd::Stop, 9);
    stock.forget(at(1));
    stock.learn(&heard);
    assert_eq!(one.asks(&mut stock, at(2), 0), [0; 0]);
    assert_eq!(one.asks(&mut stock, at(1) + USERS_END + SECOND, 2), [4, 5], "0 and 1 may have been used");
}

#[test]
fn another_file_is_named() {
    let stock = stock(Policy::Unique, AtEnd::Loop, 3);
    let said = |set: SetReport| RowsReport { turn: 1, heard: 0, sets: vec![set] };
    let same = SetReport { name: "accounts".into(), rows: 3, ..SetReport::default() };
    assert_eq!(stock.check(Some(&said(same.clone()))), Ok(()));
    let refused = |report: Option<RowsReport>| stock.check(report.as_ref()).unwrap_err().to_string();
    assert_eq!(
        refused(Some(said(SetReport { rows: 2, hash: "1f".into(), ..same }))),
        "the runner's data set `accounts` has 2 rows (1f), the master's has 3 rows (): give both the same file"
    );
    let none =
        "the runner's data set `accounts` is not there, the master's has 3 rows (): give both the same file";
    assert_eq!(refused(None), none);
    assert_eq!(Stock::default().check(None), Ok(()));
    let more = SetReport { name: "terms".into(), rows: 1, ..SetReport::default() };
    assert!(
        Stock::default().check(Some(&said(more))).unwrap_err().to_string().contains("`terms` has 1 rows")
    );
}
