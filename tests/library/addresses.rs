//! What handlers are told of their peer's address.

use crate::client::Client;
use crate::site::{On, Site, in_both_modes, script};

#[test]
fn request_and_peer_tell_the_client_s_own_address() {
    in_both_modes(|mode| {
        let site = Site::new(mode).route("/address", |request| {
            let asked = request.remote_addr();
            script(move |peer, on| {
                if let On::Open = on {
                    peer.send(format!("{asked} {}", peer.remote_addr()));
                }
            })
        });
        // IPv6, too, where there is any.
        let mut live = site
            .config(|config| config.listen = vec!["localhost:0".into()])
            .serve();
        let addresses = live.addresses().to_vec();
        for address in addresses {
            // More than one, so that nobody gets another's.
            let clients: Vec<_> = (0..5).map(|_| Client::open(address, "/address")).collect();
            for mut client in clients {
                let own = client.stream().local_addr().unwrap();
                client.expect_text(&format!("{own} {own}"));
                client.finish();
            }
        }
        live.join();
    });
}
