//! A proxy in front of the HTTP server that adds a script to the page and shows it in a frame of a given size.
//! (Chromium has no windows narrower than 500 pixels.)

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Headers of the server that the proxy drops: the body becomes longer, and the page must be allowed in a frame.
const DROPPED: [&str; 3] = ["content-length:", "x-frame-options:", "content-security-policy:"];

/// Starts a proxy of `server`. Its page also loads `script`. `/frame/WIDTH/HEIGHT/HASH` is a document with the page at
/// `#/HASH` in a frame.
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
    } else if let Some((width, rest)) = path.strip_prefix("/frame/").and_then(|rest| rest.split_once('/')) {
        let (height, hash) = rest.split_once('/').unwrap_or((rest, ""));
        let frame = format!("<iframe src=\"/#/{hash}\" width=\"{width}\" height=\"{height}\" frameborder=\"0\">");
        let document = format!("<!doctype html><meta name=\"color-scheme\" content=\"light dark\">{frame}</iframe>");
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html".to_owned(), document)
    } else {
        let mut upstream = TcpStream::connect(server)?;
        write!(upstream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        upstream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let dropped = |line: &str| DROPPED.iter().any(|name| line.to_lowercase().starts_with(name));
        let head: Vec<&str> = head.lines().filter(|line| !dropped(line)).collect();
        (head.join("\r\n"), body.replace("</head>", "<script src=\"/measure.js\" defer></script></head>"))
    };
    write!(client, "{head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}
