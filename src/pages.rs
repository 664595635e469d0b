//! A list in pages of its own. What an allocator does with freed memory is its own affair, and
//! most keep it; memory that a burst has touched is to be the system's again once it is quiet.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// Bytes of address space of a list that is not empty, at least. Only pages that have been
/// written to are memory. A multiple of every page size there is.
const SMALLEST: usize = 64 * 1024;

/// Like a `Vec`, which keeps whole pages as long as it has any capacity.
pub(crate) struct Pages<T> {
    start: NonNull<T>,
    len: usize,
    /// Elements there is room for in the mapping, which is the smallest power of two bytes that
    /// holds as many.
    capacity: usize,
}

// SAFETY: the elements are owned, and nothing else refers to the mapping.
unsafe impl<T: Send> Send for Pages<T> {}

impl<T> Pages<T> {
    /// A list without any memory.
    pub(crate) const fn new() -> Self {
        const {
            assert!(size_of::<T>() > 0 && size_of::<T>() <= SMALLEST / 2);
            assert!(align_of::<T>() <= 4096);
        }
        Self {
            start: NonNull::dangling(),
            len: 0,
            capacity: 0,
        }
    }

    /// Elements it holds without growing.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Makes room for `more` elements.
    #[inline]
    pub(crate) fn reserve(&mut self, more: usize) {
        if more > self.capacity - self.len {
            self.grow(more);
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, element: T) {
        self.reserve(1);
        // SAFETY: there is room for one more element within the mapping.
        unsafe { self.start.add(self.len).write(element) };
        self.len += 1;
    }

    /// Forgets all elements; keeps the memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        let all: *mut [T] = &mut self[..];
        self.len = 0;
        // SAFETY: they were elements, and from here on are out of reach.
        unsafe { ptr::drop_in_place(all) };
    }

    /// Gives back memory beyond room for about `capacity` elements, and for those there are.
    pub(crate) fn shrink_to(&mut self, capacity: usize) {
        let wanted = Self::mapping(capacity.max(self.len));
        if self.capacity > 0 && wanted < Self::mapping(self.capacity) {
            self.map(wanted);
        }
    }

    /// Bytes of the mapping that holds so many elements.
    fn mapping(capacity: usize) -> usize {
        capacity
            .checked_mul(size_of::<T>())
            .and_then(usize::checked_next_power_of_two)
            .expect("a list fits the address space")
            .max(SMALLEST)
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        self.map(Self::mapping(self.len.saturating_add(more)));
    }

    /// Makes the mapping so large; the elements fit it.
    fn map(&mut self, bytes: usize) {
        let mapped = if self.capacity == 0 {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: the system chooses an address that is free.
            unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }
        } else {
            let before = Self::mapping(self.capacity);
            // SAFETY: this is the list's own mapping, to which nothing refers meanwhile.
            unsafe {
                mremap(
                    self.start.as_ptr().cast(),
                    before,
                    bytes,
                    MremapFlags::MAYMOVE,
                )
            }
        };
        match mapped.ok().and_then(|start| NonNull::new(start.cast())) {
            Some(start) => self.start = start,
            None => handle_alloc_error(
                Layout::from_size_align(bytes, 1).expect("checked by the system before"),
            ),
        }
        self.capacity = bytes / size_of::<T>();
    }
}

impl<T: Copy> Pages<T> {
    #[inline]
    pub(crate) fn extend_from_slice(&mut self, elements: &[T]) {
        self.reserve(elements.len());
        // SAFETY: there is room for so many within the mapping, and a slice that could be
        // borrowed next to `&mut self` lies elsewhere.
        unsafe {
            let end = self.start.add(self.len);
            ptr::copy_nonoverlapping(elements.as_ptr(), end.as_ptr(), elements.len());
        }
        self.len += elements.len();
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements have been written, and are as long borrowed as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and nothing else refers to them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        self.clear();
        if self.capacity > 0 {
            let bytes = Self::mapping(self.capacity);
            // SAFETY: the list's own mapping, and this was the last use of it.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn what_is_pushed_stays_while_the_mapping_grows_and_shrinks() {
        // A size that no power of two is a multiple of.
        let mut list = Pages::new();
        for n in 0..100_000_u64 {
            list.push([n, !n, n]);
        }
        assert!(list.capacity() >= 100_000);
        let before = list.capacity();
        list.shrink_to(0);
        assert_eq!((list.len(), list.capacity()), (100_000, before));
        for (n, element) in (0..).zip(list.iter()) {
            assert_eq!(*element, [n, !n, n]);
        }
        list.clear();
        list.shrink_to(0);
        assert_eq!(list.capacity(), SMALLEST / 24);
    }

    #[test]
    fn slices_of_any_length_are_appended() {
        let mut list = Pages::new();
        let mut model = Vec::new();
        for length in [0, 1, 125, SMALLEST - 126, 0, 1, 5 * SMALLEST] {
            let piece: Vec<u8> = (0..length).map(|at| (at ^ length) as u8).collect();
            list.extend_from_slice(&piece);
            model.extend_from_slice(&piece);
            assert_eq!(*list, *model);
        }
    }

    #[test]
    fn every_element_is_dropped_once() {
        let shared = Rc::new(());
        let mut list = Pages::new();
        for _ in 0..10 {
            list.push(Rc::clone(&shared));
        }
        list.clear();
        assert_eq!(Rc::strong_count(&shared), 1);
        list.push(Rc::clone(&shared));
        drop(list);
        assert_eq!(Rc::strong_count(&shared), 1);
    }

    #[test]
    fn a_list_without_elements_has_no_mapping() {
        let mut list = Pages::<u32>::new();
        list.extend_from_slice(&[]);
        list.clear();
        list.shrink_to(0);
        assert_eq!((list.capacity(), list.len()), (0, 0));
        assert!(list.is_empty());
    }
}
