"""What a person clicks: the web page, its REST interface, and the panel for Streamlit applications."""
