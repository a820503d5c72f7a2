//! The compiled kernels match their source.

use sha2::{Digest, Sha256};

#[test]
fn the_ptx_is_compiled_from_the_source() {
    let (source, ptx) = (include_str!("sequence.cu"), include_str!("sequence.ptx"));
    let digest: String = Sha256::digest(source).iter().map(|byte| format!("{byte:02x}")).collect();
    let first = ptx.lines().next().unwrap();
    assert_eq!(first, format!("// sequence.cu, sha256 {digest}"), "run scripts/build-ptx");
    for cell in ["gru", "lstm"] {
        for pass in ["forward", "backward"] {
            for rows in [2, 4, 8, 16] {
                assert!(ptx.contains(&format!(".entry {cell}_{pass}_{rows}(")), "{cell}_{pass}_{rows}");
            }
        }
    }
    // Driver 580 reads this version, and every GPU since compute capability 8.0 (2020) runs this target.
    assert!(ptx.contains("\n.version 9.0\n") && ptx.contains("\n.target sm_80\n"));
}
