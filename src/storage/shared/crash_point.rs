//! Crash points: each single store into a segment passes one. A test registers a hook that is called there, to look at
//! the memory or to end the process; without tests there is nothing here.

/// Called before each store into a segment.
#[inline(always)]
pub(super) fn reached() {
    #[cfg(test)]
    hook::call();
}

#[cfg(test)]
pub(super) use hook::watch;

#[cfg(test)]
mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut()>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    pub fn call() {
        HOOK.with(|place| {
            // The hook is taken out while it runs: its own stores are not watched.
            let taken = place.borrow_mut().take();
            if let Some(mut hook) = taken {
                hook();
                *place.borrow_mut() = Some(hook);
            }
        });
    }

    /// Runs something on this thread and calls `hook` before each store it makes.
    pub fn watch<R>(hook: impl FnMut() + 'static, run: impl FnOnce() -> R) -> R {
        HOOK.with(|place| *place.borrow_mut() = Some(Box::new(hook)));
        let result = run();
        HOOK.with(|place| place.borrow_mut().take());
        result
    }
}
