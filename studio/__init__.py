"""Where people meet the models: the app, its pages, the command line. The only user of gradio."""
