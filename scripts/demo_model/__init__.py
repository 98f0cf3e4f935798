"""The recipe of the bundled model `backends/llama_cpp/models/aios-demo.gguf`.

All of its text is made by `corpus`, so that nothing is downloaded and nothing is anybody else's. In
an environment that holds this project and torch (a CPU build will do):

    python -m scripts.demo_model train          # hours on one thread; a checkpoint every 50 steps
    python -m scripts.demo_model train --resume --seed 2    # go on with fresh text
    python -m scripts.demo_model export         # writes the GGUF
    python -m scripts.demo_model evaluate       # asks it fresh questions through the core
"""
