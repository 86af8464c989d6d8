//! Where a field stands in the running kernel's structures, from its BTF.
//!
//! eBPF programs in Rust have no relocations for kernel structures; the loader reads the offset
//! here and passes it in as a global.

use anyhow::{Context, Result, anyhow, bail};
use btf_rs::{Backend, Btf, Type};

/// Where the running kernel shows its BTF.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel's types.
pub struct Kernel(Btf);

impl Kernel {
    /// Opens the running kernel's BTF.
    ///
    /// # Errors
    /// When the kernel shows none.
    pub fn open() -> Result<Self> {
        // A few names are looked up: mapping the file is far cheaper than parsing all of it,
        // which only kernels before 6.16 need.
        Btf::from_file_with_backend(VMLINUX, Backend::Mmap)
            .or_else(|_| Btf::from_file(VMLINUX))
            .map(Self)
            .with_context(|| format!("reading {VMLINUX}"))
    }

    /// Byte offset of `field` in the structure `name`, looking through anonymous members.
    ///
    /// # Errors
    /// When the kernel has no such structure or field, or it is a bit field.
    pub fn field_offset(&self, name: &str, field: &str) -> Result<u32> {
        let types = self
            .0
            .resolve_types_by_name(name)
            .map_err(|error| anyhow!("{error}"))?;
        for found in types {
            if let Type::Struct(structure) = found
                && let Some(bits) = find(&self.0, &structure.members, field)?
            {
                if bits % 8 != 0 {
                    bail!("{name}.{field} is a bit field");
                }
                return Ok(bits / 8);
            }
        }
        bail!("the kernel has no {name}.{field}")
    }
}

fn find(btf: &Btf, members: &[btf_rs::Member], field: &str) -> Result<Option<u32>> {
    for member in members {
        let name = btf
            .resolve_name(member)
            .map_err(|error| anyhow!("{error}"))?;
        if name == field {
            return Ok(Some(member.bit_offset()));
        }
        if name.is_empty()
            && let Ok(Type::Struct(inner) | Type::Union(inner)) = btf.resolve_chained_type(member)
            && let Some(bits) = find(btf, &inner.members, field)?
        {
            return Ok(Some(member.bit_offset() + bits));
        }
    }
    Ok(None)
}
