//! How the master says no: a gRPC code and a text, in one of three shapes.

use super::http::{Response, reason};
use serde::Serialize;

/// The gRPC codes that the master uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    FailedPrecondition,
    Unimplemented,
    Internal,
    Unauthenticated,
}

impl Code {
    fn number(self) -> u8 {
        match self {
            Self::InvalidArgument => 3,
            Self::NotFound => 5,
            Self::AlreadyExists => 6,
            Self::PermissionDenied => 7,
            Self::FailedPrecondition => 9,
            Self::Unimplemented => 12,
            Self::Internal => 13,
            Self::Unauthenticated => 16,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "InvalidArgument",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::PermissionDenied => "PermissionDenied",
            Self::FailedPrecondition => "FailedPrecondition",
            Self::Unimplemented => "Unimplemented",
            Self::Internal => "Internal",
            Self::Unauthenticated => "Unauthenticated",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition => 400,
            Self::NotFound => 404,
            Self::AlreadyExists => 409,
            Self::PermissionDenied => 403,
            Self::Unimplemented => 501,
            Self::Internal => 500,
            Self::Unauthenticated => 401,
        }
    }
}

/// The shape in which a route tells its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Most of the API: `{"error": {"code", "reason", "error"}}`.
    Unary,
    /// Routes that stream: `{"error": {"grpcCode", "httpCode", "message", …}}`.
    Stream,
    /// Routes outside the API: `{"message"}`.
    Plain,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) message: String,
    /// Routes outside the API have statuses of their own.
    pub(super) status: Option<u16>,
    /// The shape in which it is told, if not in that of its route.
    pub(super) shape: Option<Shape>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            status: None,
            shape: None,
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Most faults of a caller are told as faults of the master.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, message)
    }

    pub(super) fn exists(message: impl Into<String>) -> Self {
        Self::new(Code::AlreadyExists, message)
    }

    pub(super) fn precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// A refusal with a status that no gRPC code stands for.
    pub(super) fn plain(status: u16, message: impl Into<String>) -> Self {
        Self {
            status: Some(status),
            ..Self::internal(message)
        }
    }

    /// A refusal of the gateway before the API, which tells it in one shape whatever the route.
    pub(super) fn of_gateway(message: impl Into<String>) -> Self {
        Self {
            shape: Some(Shape::Unary),
            ..Self::invalid(message)
        }
    }

    pub(super) fn response(&self, shape: Shape) -> Response {
        #[derive(Serialize)]
        struct Told<T> {
            error: T,
        }
        #[derive(Serialize)]
        struct Unary<'a> {
            code: u8,
            reason: &'a str,
            error: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Stream<'a> {
            grpc_code: u8,
            http_code: u16,
            message: &'a str,
            http_status: &'a str,
            details: [(); 0],
        }
        #[derive(Serialize)]
        struct Plain<'a> {
            message: &'a str,
        }
        let status = self.status.unwrap_or(self.code.status());
        let message = self.message.as_str();
        match self.shape.unwrap_or(shape) {
            Shape::Unary => Response::json_with(
                status,
                &Told {
                    error: Unary {
                        code: self.code.number(),
                        reason: self.code.name(),
                        error: message,
                    },
                },
            )
            .with_line_end(),
            Shape::Stream => Response::json_with(
                status,
                &Told {
                    error: Stream {
                        grpc_code: self.code.number(),
                        http_code: status,
                        message,
                        http_status: reason(status),
                        details: [],
                    },
                },
            ),
            Shape::Plain => Response::json_with(status, &Plain { message }).with_charset(),
        }
    }
}
