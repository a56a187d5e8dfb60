//! How the master says no: a gRPC code and a text, in one of three shapes.

use super::http::{Response, reason};
use serde_json::json;

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
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            status: None,
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

    pub(super) fn response(&self, shape: Shape) -> Response {
        let status = self.status.unwrap_or(self.code.status());
        match shape {
            Shape::Unary => Response::json_with(
                status,
                &json!({"error": {
                    "code": self.code.number(),
                    "reason": self.code.name(),
                    "error": self.message,
                }}),
            ),
            Shape::Stream => Response::json_with(
                status,
                &json!({"error": {
                    "grpcCode": self.code.number(),
                    "httpCode": status,
                    "message": self.message,
                    "httpStatus": reason(status),
                    "details": [],
                }}),
            ),
            Shape::Plain => Response::json_with(status, &json!({"message": self.message})),
        }
    }
}
