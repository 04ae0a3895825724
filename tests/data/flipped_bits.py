"""Single bits of a set's files flipped, each of which a check must find."""

import numpy as np

from waterscape.data.doctor import check


def assert_no_flip_is_missed(directory, file, times, seed):
    path = directory / file
    whole = path.read_bytes()
    for place in np.random.default_rng(seed).choice(len(whole) * 8, times, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        findings = check(directory, threads=1).findings
        assert any(finding.file == file for finding in findings), f"bit {place} of {file} was missed"
    path.write_bytes(whole)
    assert not check(directory, threads=1).findings
