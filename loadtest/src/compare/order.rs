//! Which server comes when.

/// The order of `servers` in this round of a cell: a seeded shuffle, rotated by one each round
/// and shuffled anew when it has come round. In so many rounds as there are servers each server
/// is once at each place, so that drift within a round hits all of them alike.
pub(crate) fn order(seed: u64, cell: usize, round: u32, servers: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers).collect();
    if servers == 0 {
        return order;
    }
    let turn = round as usize / servers;
    // Odd factors keep the seeds of cells and turns apart.
    let seed = seed
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((cell as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9))
        .wrapping_add((turn as u64).wrapping_mul(0x94D0_49BB_1331_11EB));
    fastrand::Rng::with_seed(seed).shuffle(&mut order);
    order.rotate_left(round as usize % servers);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_every_server_once() {
        for round in 0..20 {
            let mut order = order(1, 3, round, 7);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn every_server_is_once_at_each_place() {
        let orders: Vec<_> = (0..9).map(|round| order(42, 0, round, 9)).collect();
        for place in 0..9 {
            let mut there: Vec<usize> = orders.iter().map(|order| order[place]).collect();
            there.sort_unstable();
            assert_eq!(there, (0..9).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_follows_from_the_seed() {
        assert_eq!(order(5, 2, 4, 9), order(5, 2, 4, 9));
        let differ = |a: Vec<usize>, b: Vec<usize>| assert_ne!(a, b);
        differ(order(5, 2, 0, 9), order(6, 2, 0, 9));
        differ(order(5, 2, 0, 9), order(5, 3, 0, 9));
        differ(order(5, 2, 0, 9), order(5, 2, 9, 9));
    }

    #[test]
    fn few_servers_are_no_matter() {
        assert_eq!(order(1, 0, 5, 0), Vec::<usize>::new());
        assert_eq!(order(1, 0, 5, 1), [0]);
    }
}
