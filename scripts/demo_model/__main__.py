"""Train, export and evaluate the bundled demonstration model."""

import argparse
from functools import partial
from pathlib import Path

import anyio

BUNDLED = Path(__file__).parents[2] / "backends" / "llama_cpp" / "models" / "aios-demo.gguf"


def main() -> None:
    """Run one of the commands; torch and gguf are needed for the first two."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo_model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("train", "export", "evaluate"):
        command = commands.add_parser(name)
        command.add_argument("--work", type=Path, default=Path(".cache/demo_model"))
        command.add_argument("--model", type=Path, default=BUNDLED)
        command.add_argument("--steps", type=int, default=1600)
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--resume", action="store_true", help="go on from the checkpoint")
        command.add_argument("--seed", type=int, default=1, help="another seed, another corpus")
        command.add_argument("--prompts", type=int, default=40)
    options = parser.parse_args()
    if options.command == "train":
        from scripts.demo_model.train import Plan, train

        plan = Plan(
            steps=options.steps,
            threads=options.threads,
            seed=options.seed,
            resume=options.resume,
        )
        train(options.work, plan)
    elif options.command == "export":
        from scripts.demo_model.export import export

        print(f"{options.model}: {export(options.work, options.model):,} bytes")
    else:
        from scripts.demo_model.evaluate import evaluate

        scores = anyio.run(partial(evaluate, options.model, prompts=options.prompts))
        for kind, share in scores.items():
            print(f"{kind:12} {share:6.1%}")


if __name__ == "__main__":
    main()
