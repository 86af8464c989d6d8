//! Converters of numbers. Results that are too large are the largest there are.

use super::{Answer, Convert, answer};
use crate::rules::arguments::Operand;
use crate::rules::fetch::Call;
use crate::rules::names::Names;
use crate::rules::sample::{Kind, Value};
use crate::rules::scene::Scene;

/// With another number.
#[derive(Debug, Clone, Copy)]
enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    And,
    Or,
    Xor,
}

/// By itself.
#[derive(Debug, Clone, Copy)]
enum Unary {
    Neg,
    Cpl,
    Not,
    Bool,
    Odd,
    Even,
}

pub(super) fn compile(call: Call<'_>, names: &Names<'_>) -> Answer {
    let binary = match call.name {
        "add" => Some(Binary::Add),
        "sub" => Some(Binary::Sub),
        "mul" => Some(Binary::Mul),
        "div" => Some(Binary::Div),
        "mod" => Some(Binary::Mod),
        "and" => Some(Binary::And),
        "or" => Some(Binary::Or),
        "xor" => Some(Binary::Xor),
        _ => None,
    };
    if let Some(operation) = binary {
        return answer(
            call.count(1..=1)
                .and_then(|()| call.operand(0, names))
                .map(|operand| WithOperand { operation, operand }),
        );
    }
    let operation = match call.name {
        "neg" => Unary::Neg,
        "cpl" => Unary::Cpl,
        "not" => Unary::Not,
        "bool" => Unary::Bool,
        "odd" => Unary::Odd,
        "even" => Unary::Even,
        _ => return None,
    };
    answer(call.count(0..=0).map(|()| operation))
}

#[derive(Debug)]
struct WithOperand {
    operation: Binary,
    operand: Operand,
}

impl Convert for WithOperand {
    fn input(&self) -> Kind {
        Kind::Int
    }

    fn output(&self) -> Kind {
        Kind::Int
    }

    fn convert<'a>(&self, value: Value<'a>, scene: &Scene<'a>) -> Option<Value<'a>> {
        let Value::Int(left) = value else { return None };
        let right = self.operand.get(scene)?;
        Some(Value::Int(match self.operation {
            Binary::Add => left.saturating_add(right),
            Binary::Sub => left.saturating_sub(right),
            Binary::Mul => left.saturating_mul(right),
            Binary::Div if right == 0 => i64::MAX,
            Binary::Div => left.saturating_div(right),
            Binary::Mod if right == 0 => 0,
            Binary::Mod => left.wrapping_rem(right),
            Binary::And => left & right,
            Binary::Or => left | right,
            Binary::Xor => left ^ right,
        }))
    }
}

impl Convert for Unary {
    fn input(&self) -> Kind {
        Kind::Int
    }

    fn output(&self) -> Kind {
        match self {
            Self::Neg | Self::Cpl => Kind::Int,
            Self::Not | Self::Bool | Self::Odd | Self::Even => Kind::Bool,
        }
    }

    fn convert<'a>(&self, value: Value<'a>, _: &Scene<'a>) -> Option<Value<'a>> {
        let Value::Int(number) = value else {
            return None;
        };
        Some(match self {
            Self::Neg => Value::Int(number.saturating_neg()),
            Self::Cpl => Value::Int(!number),
            Self::Not => Value::Bool(number == 0),
            Self::Bool => Value::Bool(number != 0),
            Self::Odd => Value::Bool(number & 1 == 1),
            Self::Even => Value::Bool(number & 1 == 0),
        })
    }
}
