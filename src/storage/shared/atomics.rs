//! The atomics that shared memory is made of: those of the standard library. In tests each access can be handed to a model
//! of the memory, which decides what a load reads and which thread goes on (`tests/schedules/`).

#[cfg(not(test))]
pub use std::sync::atomic::{AtomicU32, AtomicU64, fence};

#[cfg(test)]
pub use watched::{AtomicU32, AtomicU64, fence};

#[cfg(test)]
pub(super) mod watched {
    use std::{
        cell::RefCell,
        rc::Rc,
        sync::atomic::{self, Ordering},
    };

    /// An atomic in memory.
    #[derive(Clone, Copy)]
    pub enum Place<'a> {
        Word(&'a atomic::AtomicU32),
        Long(&'a atomic::AtomicU64),
    }

    /// What stands between the code and the memory.
    pub trait Model {
        fn load(&self, place: Place<'_>, order: Ordering) -> u64;
        fn store(&self, place: Place<'_>, value: u64, order: Ordering);
        /// Stores what `change` makes of the value, if it makes something of it. Returns the value before.
        fn change(
            &self,
            place: Place<'_>,
            change: &dyn Fn(u64) -> Option<u64>,
            order: Ordering,
        ) -> Result<u64, u64>;
        fn fence(&self, order: Ordering);
        /// The owner that the lock has for the thread that runs.
        fn this_thread(&self) -> u64;
        /// Whether a thread lives.
        fn is_alive(&self, owner: u64) -> bool;
    }

    thread_local! {
        static MODEL: RefCell<Option<Rc<dyn Model>>> = const { RefCell::new(None) };
    }

    /// From now on all accesses of this thread go to `model`; with `None`, to the memory.
    pub fn install(model: Option<Rc<dyn Model>>) {
        MODEL.set(model);
    }

    /// The model of this thread.
    pub fn model() -> Option<Rc<dyn Model>> {
        MODEL.with_borrow(Clone::clone)
    }

    pub fn fence(order: Ordering) {
        match model() {
            Some(model) => model.fence(order),
            None => atomic::fence(order),
        }
    }

    macro_rules! watched {
        ($name:ident, $plain:ty, $place:ident) => {
            #[repr(transparent)]
            #[derive(Debug, Default)]
            pub struct $name(atomic::$name);

            impl $name {
                pub fn load(&self, order: Ordering) -> $plain {
                    match model() {
                        Some(model) => model.load(Place::$place(&self.0), order) as $plain,
                        None => self.0.load(order),
                    }
                }

                pub fn store(&self, value: $plain, order: Ordering) {
                    match model() {
                        Some(model) => model.store(Place::$place(&self.0), value.into(), order),
                        None => self.0.store(value, order),
                    }
                }

                pub fn fetch_add(&self, more: $plain, order: Ordering) -> $plain {
                    let add = |value: u64| Some((value as $plain).wrapping_add(more).into());
                    match model() {
                        Some(model) => {
                            let (Ok(before) | Err(before)) =
                                model.change(Place::$place(&self.0), &add, order);
                            before as $plain
                        }
                        None => self.0.fetch_add(more, order),
                    }
                }
            }
        };
    }

    watched!(AtomicU32, u32, Word);
    watched!(AtomicU64, u64, Long);

    impl AtomicU64 {
        pub fn swap(&self, new: u64, order: Ordering) -> u64 {
            match model() {
                Some(model) => {
                    let (Ok(before) | Err(before)) =
                        model.change(Place::Long(&self.0), &|_| Some(new), order);
                    before
                }
                None => self.0.swap(new, order),
            }
        }

        pub fn compare_exchange(
            &self,
            current: u64,
            new: u64,
            order: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            let exchange = |value: u64| (value == current).then_some(new);
            match model() {
                Some(model) => model.change(Place::Long(&self.0), &exchange, order),
                None => self.0.compare_exchange(current, new, order, failure),
            }
        }
    }
}
