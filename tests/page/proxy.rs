//! A proxy in front of the HTTP server that adds a script to the page.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Starts a proxy of `server`. Its page also loads `/measure.js`, which answers with `script`.
pub fn start(server: SocketAddr, script: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream?, server, script));
        }
    });
    address
}

fn answer(mut client: TcpStream, server: SocketAddr, script: &str) -> std::io::Result<()> {
    let mut request = [0; 8192];
    let length = client.read(&mut request)?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("/");
    let (head, body) = if path == "/measure.js" {
        ("HTTP/1.1 200 OK\r\ncontent-type: text/javascript".to_owned(), script.to_owned())
    } else {
        let mut upstream = TcpStream::connect(server)?;
        write!(upstream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        upstream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let head: Vec<&str> = head.lines().filter(|line| !line.to_lowercase().starts_with("content-length")).collect();
        (head.join("\r\n"), body.replace("</head>", "<script src=\"/measure.js\" defer></script></head>"))
    };
    write!(client, "{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
