"""Where the README's figures come from: `python -m benchmarks NAME [--quick] [--check]`.

Every figure is printed beside its bar and its peer, measured side by side in one run. Timings on
shared machines are noisy, so bars are ratios wherever a peer exists.
"""
