//! As much of HTTP/1.1 as the demonstration's server speaks, without its socket.

/// The longest request head, in bytes.
pub(crate) const HEAD_LIMIT: usize = 16 * 1024;

/// Size of `/bulk`, in bytes.
pub(crate) const BULK_SIZE: u64 = 256 << 20;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    /// The answer's kind.
    pub(crate) page: Page,
    /// Whether the answer's body is to be sent (not for HEAD).
    pub(crate) body: bool,
    /// Whether the connection stays open after the answer.
    pub(crate) keep_alive: bool,
}

/// What there is to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// A few lines of text.
    Small,
    /// [`BULK_SIZE`] bytes.
    Bulk,
    /// No such page.
    NotFound,
    /// A method other than GET and HEAD.
    NotAllowed,
    /// Not a request.
    Bad,
}

impl Page {
    fn status(self) -> &'static str {
        match self {
            Self::Small | Self::Bulk => "200 OK",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::Bad => "400 Bad Request",
        }
    }

    /// The body, except that of [`Page::Bulk`], which is [`BULK_SIZE`] zero bytes.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Small => "Hello from behind Underpass. /bulk is larger.\n",
            Self::Bulk => "",
            Self::NotFound => "There is / and /bulk here.\n",
            Self::NotAllowed => "Only GET and HEAD here.\n",
            Self::Bad => "That was no HTTP/1 request.\n",
        }
    }

    fn length(self) -> u64 {
        match self {
            Self::Bulk => BULK_SIZE,
            _ => self.text().len() as u64,
        }
    }
}

/// Length of the request head at the start of `bytes`, its empty line included, once it is whole.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|start| start + 4)
}

/// Reads a whole request head.
pub(crate) fn parse(head: &[u8]) -> Request {
    let bad = Request {
        page: Page::Bad,
        body: true,
        keep_alive: false,
    };
    let Ok(head) = str::from_utf8(head) else {
        return bad;
    };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return bad;
    };
    let mut keep_alive = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return bad,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("connection") {
            if value.eq_ignore_ascii_case("close") {
                keep_alive = false;
            } else if value.eq_ignore_ascii_case("keep-alive") {
                keep_alive = true;
            }
        }
        // A request body is not read, so that the next request's start cannot be found.
        if name.eq_ignore_ascii_case("transfer-encoding")
            || (name.eq_ignore_ascii_case("content-length") && value != "0")
        {
            return Request {
                page: Page::NotAllowed,
                body: true,
                keep_alive: false,
            };
        }
    }
    let page = match (method, target.split('?').next()) {
        ("GET" | "HEAD", Some("/")) => Page::Small,
        ("GET" | "HEAD", Some("/bulk")) => Page::Bulk,
        ("GET" | "HEAD", _) => Page::NotFound,
        _ => Page::NotAllowed,
    };
    Request {
        page,
        body: method != "HEAD",
        keep_alive,
    }
}

/// The head of the answer.
pub(crate) fn answer_head(request: Request) -> String {
    let connection = if request.keep_alive {
        "keep-alive"
    } else {
        "close"
    };
    let kind = match request.page {
        Page::Bulk => "application/octet-stream",
        _ => "text/plain; charset=utf-8",
    };
    format!(
        "HTTP/1.1 {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
        request.page.status(),
        request.page.length(),
    )
}

#[cfg(test)]
mod tests {
    use super::{Page, Request, answer_head, head_length, parse};

    fn get(target: &str, headers: &str) -> Request {
        parse(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes())
    }

    #[test]
    fn head_ends_after_its_empty_line() {
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r"), None);
        assert_eq!(head_length(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
    }

    #[test]
    fn pages_are_found_whatever_their_query() {
        assert_eq!(get("/", "").page, Page::Small);
        assert_eq!(get("/bulk?x=1", "").page, Page::Bulk);
        assert_eq!(get("/none", "").page, Page::NotFound);
    }

    #[test]
    fn connection_stays_open_as_the_version_and_the_header_say() {
        assert!(get("/", "").keep_alive);
        assert!(!get("/", "connection: Close\r\n").keep_alive);
        assert!(!parse(b"GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(parse(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
    }

    #[test]
    fn request_with_a_body_is_refused_and_ends_the_connection() {
        let request = parse(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(request.page, Page::NotAllowed);
        assert!(!request.keep_alive);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for head in [
            &b"\r\n\r\n"[..],
            b"GET /\r\n\r\n",
            b"\xff / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(head).page, Page::Bad);
        }
    }

    #[test]
    fn answer_names_its_length() {
        let head = answer_head(get("/bulk", ""));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(head.contains("\r\nContent-Length: 268435456\r\n"));
    }
}
