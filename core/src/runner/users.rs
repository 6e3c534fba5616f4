//! A process' users: what was ordered, what is there, and what is still to be ordered.
//!
//! Live users, those that are still ending included, never exceed the share because of an order. Start at
//! [`Users::follow`].

use std::collections::VecDeque;

use super::Action;
use crate::message::ClassUsers;

/// Users by class.
#[derive(Clone, Debug)]
pub(super) struct Users {
    /// Started less retired, as ordered; those that died keep their place.
    ordered: Vec<u32>,
    /// As reported, with the starts ordered since.
    now: Vec<ClassUsers>,
}

impl Users {
    pub(super) fn new(classes: usize) -> Self {
        Self { ordered: vec![0; classes], now: vec![ClassUsers::default(); classes] }
    }

    /// Takes in what is there; starts that nobody has seen yet count on top.
    pub(super) fn report(&mut self, class: usize, users: ClassUsers, unseen: &VecDeque<Action>) {
        if let Some(now) = self.now.get_mut(class) {
            let ordered = unseen.iter().map(|action| match action {
                Action::Start { class: of, users } if *of == class => *users,
                _ => 0,
            });
            let live = ordered.fold(users.live, u32::saturating_add);
            *now = ClassUsers { live, ..users };
        }
    }

    /// Orders what it takes to come to `wanted` users by class; classes that it lacks want none.
    pub(super) fn follow(&mut self, wanted: &[u32], actions: &mut VecDeque<Action>) {
        let wanted = |class: usize| wanted.get(class).copied().unwrap_or(0);
        for (class, ordered) in
            self.ordered.iter_mut().enumerate().filter(|(class, ordered)| wanted(*class) < **ordered)
        {
            actions.push_back(Action::Retire { class, users: *ordered - wanted(class) });
            *ordered = wanted(class);
        }
        let places = (0..self.now.len()).fold(0_u32, |sum, class| sum.saturating_add(wanted(class)));
        let taken = (0..self.now.len())
            .fold(0, |sum: u32, class| sum.saturating_add(self.taken(class, wanted(class))));
        let mut room = places.saturating_sub(taken);
        for class in 0..self.now.len() {
            let ordered = wanted(class).saturating_sub(self.ordered[class]);
            let users = ordered.min(wanted(class).saturating_sub(self.taken(class, wanted(class)))).min(room);
            if 0 < users {
                self.ordered[class] += users;
                self.now[class].live = self.now[class].live.saturating_add(users);
                room -= users;
                actions.push_back(Action::Start { class, users });
            }
        }
    }

    /// In the open model: how many there may be; whoever is above goes.
    pub(super) fn allow(&mut self, most: &[u32], actions: &mut VecDeque<Action>) {
        for (class, ordered) in self.ordered.iter_mut().enumerate() {
            let users = most.get(class).copied().unwrap_or(0);
            if *ordered != users {
                *ordered = users;
                actions.push_back(Action::Allow { class, users });
            }
        }
    }

    /// Nothing that was ordered holds any more; orders that nobody has seen yet are taken back.
    pub(super) fn forget_orders(&mut self, actions: &mut VecDeque<Action>) {
        for action in actions.iter() {
            if let Action::Start { class, users } = action {
                self.now[*class].live = self.now[*class].live.saturating_sub(*users);
            }
        }
        actions.retain(|action| {
            !matches!(action, Action::Start { .. } | Action::Retire { .. } | Action::Allow { .. })
        });
        self.ordered.fill(0);
    }

    /// Nobody is live any more.
    pub(super) fn lose(&mut self) {
        self.now.iter_mut().for_each(|users| users.live = 0);
    }

    /// Whether every wanted user is there, or has died.
    pub(super) fn reached(&self, wanted: &[u32]) -> bool {
        wanted.iter().enumerate().all(|(class, wanted)| {
            self.now.get(class).is_none_or(|now| *wanted <= now.live.saturating_add(now.dead))
        })
    }

    pub(super) fn all_ended(&self) -> bool {
        self.now.iter().all(|users| users.live == 0)
    }

    pub(super) fn now(&self) -> &[ClassUsers] {
        &self.now
    }

    /// Places of a class' share that are taken: by every live user, and by dead ones as far as the share goes.
    fn taken(&self, class: usize, wanted: u32) -> u32 {
        let now = self.now[class];
        now.live.saturating_add(now.dead.min(wanted.saturating_sub(now.live)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(users: &mut Users, wanted: &[u32]) -> Vec<Action> {
        let mut actions = VecDeque::new();
        users.follow(wanted, &mut actions);
        actions.into()
    }

    fn report(users: &mut Users, class: usize, live: u32, dead: u32) {
        users.report(class, ClassUsers { live, dead }, &VecDeque::new());
    }

    #[test]
    fn an_order_is_given_once() {
        let mut users = Users::new(2);
        assert_eq!(
            follow(&mut users, &[3, 1]),
            [Action::Start { class: 0, users: 3 }, Action::Start { class: 1, users: 1 }]
        );
        assert_eq!(follow(&mut users, &[3, 1]), []);
        assert_eq!(follow(&mut users, &[1, 1]), [Action::Retire { class: 0, users: 2 }]);
        assert_eq!(follow(&mut users, &[1, 1]), []);
    }

    #[test]
    fn nobody_starts_until_those_that_end_have_ended() {
        let mut users = Users::new(2);
        follow(&mut users, &[3, 0]);
        assert_eq!(follow(&mut users, &[1, 2]), [Action::Retire { class: 0, users: 2 }]);
        report(&mut users, 0, 2, 0);
        assert_eq!(follow(&mut users, &[1, 2]), [Action::Start { class: 1, users: 1 }]);
        report(&mut users, 0, 1, 0);
        report(&mut users, 1, 1, 0);
        assert_eq!(follow(&mut users, &[1, 2]), [Action::Start { class: 1, users: 1 }]);
    }

    #[test]
    fn the_dead_keep_their_places() {
        let mut users = Users::new(1);
        follow(&mut users, &[10]);
        report(&mut users, 0, 6, 4);
        assert_eq!(follow(&mut users, &[10]), []);
        assert!(users.reached(&[10]));
        assert_eq!(follow(&mut users, &[12]), [Action::Start { class: 0, users: 2 }]);
        assert_eq!(follow(&mut users, &[5]), [Action::Retire { class: 0, users: 7 }]);
        report(&mut users, 0, 1, 4);
        assert_eq!(follow(&mut users, &[7]), [Action::Start { class: 0, users: 2 }]);
    }

    #[test]
    fn a_report_from_before_an_order_hides_none_of_it() {
        let mut users = Users::new(1);
        let mut actions = VecDeque::new();
        users.follow(&[2], &mut actions);
        users.report(0, ClassUsers::default(), &actions);
        assert_eq!(users.now()[0].live, 2);
        users.forget_orders(&mut actions);
        assert!(users.all_ended() && actions.is_empty());
    }
}
