//! A list that gives memory back. What an allocator does with freed memory is its own affair, and
//! most keep it; what a burst has touched is to be the system's again once it is quiet.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap, munmap};

/// Bytes that a short list takes from the heap: a page for each of very many would be a waste.
const HEAP: usize = 256;
const ALIGN: usize = 16;
/// Bytes of address space of a longer list, at least, which lies in pages of its own. Only those
/// that have been written to are memory. A multiple of every page size there is.
const MAPPED: usize = 64 * 1024;

/// Like a `Vec`; when it is dropped, its pages are the system's again.
pub(crate) struct MappedVec<T> {
    start: NonNull<T>,
    len: usize,
    /// Elements there is room for; [`size`](Self::size) knows the bytes that were taken for them.
    capacity: usize,
}

// SAFETY: the elements are owned, and nothing else refers to the memory.
unsafe impl<T: Send> Send for MappedVec<T> {}

impl<T> MappedVec<T> {
    /// A list without any memory.
    pub(crate) const fn new() -> Self {
        const {
            assert!(size_of::<T>() > 0 && size_of::<T>() <= HEAP / 2);
            assert!(align_of::<T>() <= ALIGN);
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
        // SAFETY: there is room for one more element in the memory.
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
    #[cold]
    #[inline(never)]
    pub(crate) fn shrink_to(&mut self, capacity: usize) {
        let wanted = Self::size(capacity.max(self.len));
        if self.capacity > 0 && wanted < Self::size(self.capacity) {
            self.resize(wanted);
        }
    }

    /// Bytes that are taken for so many elements: a power of two, so that less than one element
    /// is left over and the way back from the capacity leads to the same.
    fn size(capacity: usize) -> usize {
        let bytes = capacity
            .checked_mul(size_of::<T>())
            .and_then(usize::checked_next_power_of_two)
            .expect("a list fits the address space");
        if bytes <= HEAP {
            HEAP
        } else {
            bytes.max(MAPPED)
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        self.resize(Self::size(self.len.saturating_add(more)));
    }

    /// Moves to memory of so many bytes, which hold the elements.
    fn resize(&mut self, bytes: usize) {
        let before = match self.capacity {
            0 => 0,
            capacity => Self::size(capacity),
        };
        let old: NonNull<u8> = self.start.cast();
        if before > HEAP && bytes > HEAP {
            // SAFETY: this is the list's own mapping, to which nothing refers meanwhile.
            let moved = unsafe { mremap(old.as_ptr().cast(), before, bytes, MremapFlags::MAYMOVE) };
            self.start = checked(moved, bytes).cast();
        } else {
            let new = take(bytes);
            // SAFETY: both have room for the elements, and the old memory is used for the last
            // time.
            unsafe {
                ptr::copy_nonoverlapping(old.as_ptr(), new.as_ptr(), self.len * size_of::<T>());
                give_back(old, before);
            }
            self.start = new.cast();
        }
        self.capacity = bytes / size_of::<T>();
    }
}

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN).expect("the size fits the address space")
}

fn checked<T>(memory: Result<*mut T, Errno>, bytes: usize) -> NonNull<u8> {
    match memory.ok().and_then(NonNull::new) {
        Some(memory) => memory.cast(),
        None => handle_alloc_error(layout(bytes)),
    }
}

fn take(bytes: usize) -> NonNull<u8> {
    let memory = if bytes <= HEAP {
        // SAFETY: nobody asks for no bytes.
        Ok(unsafe { alloc(layout(bytes)) }.cast())
    } else {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the system chooses an address that is free.
        unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }
    };
    checked(memory, bytes)
}

/// # Safety
/// The memory is what [`take`] returned for so many bytes, or moved from there, and is not used
/// again. There is none if there are no bytes.
unsafe fn give_back(memory: NonNull<u8>, bytes: usize) {
    if bytes > HEAP {
        // SAFETY: the caller's promise is the same.
        let unmapped = unsafe { munmap(memory.as_ptr().cast(), bytes) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    } else if bytes > 0 {
        // SAFETY: the caller's promise is the same.
        unsafe { dealloc(memory.as_ptr(), layout(bytes)) };
    }
}

impl<T: Copy> MappedVec<T> {
    #[inline]
    pub(crate) fn extend_from_slice(&mut self, elements: &[T]) {
        self.reserve(elements.len());
        // SAFETY: there is room for so many in the memory, and a slice that could be
        // borrowed next to `&mut self` lies elsewhere.
        unsafe {
            let end = self.start.add(self.len);
            ptr::copy_nonoverlapping(elements.as_ptr(), end.as_ptr(), elements.len());
        }
        self.len += elements.len();
    }

    /// Appends both if that takes no growing; says whether it did.
    #[inline]
    pub(crate) fn append<const N: usize>(&mut self, first: &[T; N], then: &[T]) -> bool {
        let count = N + then.len();
        if count > self.capacity - self.len {
            return false;
        }
        // SAFETY: there is room for both in the memory, and slices that could be borrowed next
        // to `&mut self` lie elsewhere.
        unsafe {
            let end = self.start.add(self.len);
            ptr::copy_nonoverlapping(first.as_ptr(), end.as_ptr(), N);
            ptr::copy_nonoverlapping(then.as_ptr(), end.add(N).as_ptr(), then.len());
        }
        self.len += count;
        true
    }
}

impl<T> Default for MappedVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for MappedVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` elements have been written, and are as long borrowed as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for MappedVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and nothing else refers to them.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T> Drop for MappedVec<T> {
    fn drop(&mut self) {
        self.clear();
        if self.capacity > 0 {
            // SAFETY: the list's own memory, and this was the last use of it.
            unsafe { give_back(self.start.cast(), Self::size(self.capacity)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn what_is_pushed_stays_while_the_memory_grows_and_shrinks() {
        // A size that no power of two is a multiple of.
        let mut list = MappedVec::new();
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
        assert_eq!(list.capacity(), HEAP / 24);
    }

    #[test]
    fn slices_of_any_length_are_appended() {
        let mut list = MappedVec::new();
        let mut model = Vec::new();
        for length in [0, 1, 254, 1, 0, 1, MAPPED - 257, 1, 5 * MAPPED] {
            let piece: Vec<u8> = (0..length).map(|at| (at ^ length) as u8).collect();
            list.extend_from_slice(&piece);
            model.extend_from_slice(&piece);
            assert_eq!(*list, *model);
        }
    }

    #[test]
    fn two_parts_are_appended_where_there_is_room_and_not_at_all_elsewhere() {
        let mut list = MappedVec::new();
        assert!(!list.append(b"ab", b"c"), "no memory yet");
        list.push(b'x');
        assert!(list.append(b"ab", b""));
        assert!(list.append(b"cd", b"efg"));
        assert_eq!(*list, *b"xabcdefg");
        let room = list.capacity() - list.len();
        assert!(!list.append(b"ab", &vec![b'y'; room - 1]));
        assert_eq!(*list, *b"xabcdefg");
        assert!(list.append(b"ab", &vec![b'y'; room - 2]));
        assert_eq!(list.len(), list.capacity());
    }

    #[test]
    fn every_element_is_dropped_once() {
        let shared = Rc::new(());
        let mut list = MappedVec::new();
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
    fn a_list_without_elements_has_no_memory() {
        let mut list = MappedVec::<u32>::new();
        list.extend_from_slice(&[]);
        list.clear();
        list.shrink_to(0);
        assert_eq!((list.capacity(), list.len()), (0, 0));
        assert!(list.is_empty());
    }
}
